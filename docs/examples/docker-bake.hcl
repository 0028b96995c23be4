# The same as `sociable build`, with docker buildx bake:
#
#   docker buildx bake -f docker-bake.hcl            # into the registry
#   docker buildx bake -f docker-bake.hcl archive    # as app.tar, an OCI archive
#
# Variables come from the environment: REPO=registry.example/team/app TAG=2 docker buildx bake …

variable "FRONTEND" {
  default = "ghcr.io/sociable/frontend:0.1.0"
}

variable "REPO" {
  default = "registry.example/app"
}

variable "TAG" {
  default = "1"
}

# A docker config.json with the credentials for REPO under "auths"; credential helpers do not run inside a build.
# Without it (AUTHFILE=), nobody logs in.
variable "AUTHFILE" {
  default = ""
}

group "default" {
  targets = ["app"]
}

# What every target with an index has (but no target that another one uses as a context: docs/frontend.md says why); spans, prefetched files and so on are more arguments (SOCI_SPAN_SIZE, SOCI_PREFETCH).
target "soci" {
  args = {
    BUILDKIT_SYNTAX = FRONTEND
  }
}

target "app" {
  inherits = ["soci"]
  args = {
    SOCI_OUTPUT = "image"
    SOCI_REPO   = REPO
  }
  tags   = ["${REPO}:${TAG}"]
  secret = AUTHFILE == "" ? [] : ["id=soci-registry,src=${AUTHFILE}"]
  output = ["type=registry"]
}

target "archive" {
  inherits = ["soci"]
  args = {
    SOCI_OUTPUT = "layout"
  }
  # Not type=oci: that is BuildKit's own layout, which has no room for the index.
  output = ["type=tar,dest=app.tar"]
}
