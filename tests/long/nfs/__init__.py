"""A mount that is exported by NFS-Ganesha, and clients of NFSv3 that keep files open while everything restarts."""
