"""Accounts, tokens, projects and roles, quotas, audit."""
