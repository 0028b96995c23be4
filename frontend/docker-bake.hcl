# The frontend's image, for both architectures, of what `cargo xtask frontend` has built.
target "default" {
  context   = "."
  platforms = ["linux/amd64", "linux/arm64"]
  tags      = ["ghcr.io/sociable/frontend:0.1.0"]
}
