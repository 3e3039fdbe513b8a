"""What talks to people and to Label Studio."""
