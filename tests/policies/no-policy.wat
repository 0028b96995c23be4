;; A component, but no policy.
(component)
