"""The lungs of a chest CT: field of view, air, airway, parts, surface."""
