"""What the outside asks a running mount: the control socket."""
