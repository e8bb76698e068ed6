"""What the back end must hold, measured in worlds with known truth; one module for each part."""
