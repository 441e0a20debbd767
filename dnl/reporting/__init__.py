"""What people read and look at: reports, summaries and figures."""
