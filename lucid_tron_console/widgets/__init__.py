"""Small widgets that send few bytes and show every text as it is."""
