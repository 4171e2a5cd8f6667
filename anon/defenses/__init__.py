"""What the defender does to changed faces, or to the generator that draws them, so that no attack undoes the change."""
