"""The appearance of a site in numbers, and the distance between sites.

An appearance descriptor is 24 numbers of one cell (`cell_descriptor`). A profile holds the descriptors of a site, and
gives the distance of other images from it (`site_profile`). `subdomains` finds groups of images within a site,
`control_chart` follows a site over time, and `domain_classifier` measures how well two sets can be discriminated.
"""
