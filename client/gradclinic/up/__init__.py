"""`gradclinic up`: a private store, the API and workers as one tree of processes on this machine."""
