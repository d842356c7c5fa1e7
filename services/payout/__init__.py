"""Payouts: intent, policy and progress, each paid once or shown to be dead."""
