"""What several tests share. Nothing here is part of the product."""
