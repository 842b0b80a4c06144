"""The Job controller: batch/v1 Jobs as kube-controller-manager 1.36 runs them."""
