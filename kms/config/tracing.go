package config

import (
	"github.com/bucketseal/bucketseal/operator/collector"
	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// decodeTracing reads where a key server's traces go. An extension of KES's schema.
func decodeTracing(d *decoder, n *node, embedded bool) collector.Settings {
	s := collector.Settings{SampleRatio: collector.DefaultSampleRatio, Service: collector.DefaultService}
	if embedded && n.Kind != yamlfile.Null {
		d.warnf(n, "tracing is not used here: a key service in a proxy sends its traces where the proxy's own settings say")
	}
	const what = "tracing"
	d.mapping(n, what, fields{
		"endpoint": func(v *node) {
			u, err := collector.ParseEndpoint(d.required(v, what+".endpoint"))
			if err != nil {
				d.errorf(v, "%s.endpoint: %v", what, err)
			}
			s.Endpoint = u
		},
		"sample_ratio": func(v *node) {
			r, err := collector.ParseRatio(d.text(v))
			if err != nil {
				d.errorf(v, "%s.sample_ratio: %v", what, err)
			}
			s.SampleRatio = r
		},
		"headers": func(v *node) {
			h, err := collector.ParseHeaders(d.texts(v, what+".headers"))
			if err != nil {
				d.errorf(v, "%s.headers: %v", what, err)
			}
			s.Headers = h
		},
		"ca":           func(v *node) { s.CA = d.required(v, what+".ca") },
		"service_name": func(v *node) { s.Service = d.required(v, what+".service_name") },
	})
	if s.Endpoint == nil && len(d.errs) == 0 && n.Kind != yamlfile.Null {
		d.errorf(n, "tracing.endpoint: name the collector, as in http://collector:4318")
	}
	return s
}
