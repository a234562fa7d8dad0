"""What a caller gets: pictures and pages made of a finished drawing."""
