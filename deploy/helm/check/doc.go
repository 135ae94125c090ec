// Package check holds the Helm chart to what Kubernetes and bucketseal read: it renders the
// chart by the tool helm, decodes every object strictly into Kubernetes's own types, and has
// bucketseal check the configurations. It is a module of its own, so that nothing of
// Kubernetes is in the product's go.mod. `make chart-test` runs its tests.
package check
