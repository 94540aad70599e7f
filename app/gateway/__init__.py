"""Who is this? The one check that everything uses."""
