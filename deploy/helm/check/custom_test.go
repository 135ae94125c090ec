package check

// Of resources that operators define, the fields that the chart uses, as their
// documentation has them.

type meta struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type resource struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
}

// https://prometheus-operator.dev/docs/api-reference/api/
type serviceMonitor struct {
	resource
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

type prometheusRule struct {
	resource
	Spec struct {
		Groups []struct {
			Name     string `json:"name"`
			Interval string `json:"interval"`
			Rules    []struct {
				Alert       string            `json:"alert"`
				Record      string            `json:"record"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				KeepFiring  string            `json:"keep_firing_for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

// https://cert-manager.io/docs/reference/api-docs/
type certificate struct {
	resource
	Spec struct {
		SecretName string `json:"secretName"`
		PrivateKey struct {
			Algorithm      string `json:"algorithm"`
			Size           int    `json:"size"`
			RotationPolicy string `json:"rotationPolicy"`
		} `json:"privateKey"`
		Usages    []string `json:"usages"`
		DNSNames  []string `json:"dnsNames"`
		IssuerRef struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"issuerRef"`
	} `json:"spec"`
}

// customResource returns what to read such a resource into; nil for Kubernetes's own.
func customResource(kind string) any {
	switch kind {
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return new(serviceMonitor)
	case "monitoring.coreos.com/v1 PrometheusRule":
		return new(prometheusRule)
	case "cert-manager.io/v1 Certificate":
		return new(certificate)
	}
	return nil
}
