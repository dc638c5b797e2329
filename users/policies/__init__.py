"""What the lab allows: its settings, and quotas of users and projects."""
