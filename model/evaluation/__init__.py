"""Is it better? Candidate against champion, by figures and by people."""
