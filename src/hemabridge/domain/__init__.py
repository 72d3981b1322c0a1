"""The appearance of a site in numbers: appearance descriptors, profiles, subdomains, control charts."""
