"""What people wrote: corrections with their images, and what is found out about them."""
