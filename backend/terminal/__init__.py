"""Progress bars and tables on a terminal."""
