"""`gradclinic demo`: healthy and broken example models, diagnosed through the real client."""
