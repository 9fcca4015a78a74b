"""``/v1/sessions``: interpreters that outlive a request, and the files in their work folders."""
