"""The dialogs: what an operator fills in and confirms."""
