"""What a site looks like in numbers: appearance descriptors, profiles, subdomains, control charts."""
