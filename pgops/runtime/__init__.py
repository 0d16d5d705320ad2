"""What a process needs to end well: waits with an end, private temporary files, threads that keep nobody waiting."""
