"""Authorization: roles, scopes and memberships."""
