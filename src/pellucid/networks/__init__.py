"""Networks that compute: from tables, from timm, from somebody's own code."""
