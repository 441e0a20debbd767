"""Leaders whose utilities jump when a follower switches choice: contracts, pricing, security."""
