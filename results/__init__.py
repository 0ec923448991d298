"""What the commands of this repository measured, as JSON, and the tables that are made of it."""
