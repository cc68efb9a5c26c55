"""What attackers cost the others."""
