package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Tracing says where traces of requests are sent to.
type Tracing struct {
	// Endpoint is the collector's URL, for OTLP over HTTP; nil for no tracing.
	Endpoint *url.URL
	// SampleRatio is the share of requests that are recorded, 0 to 1.
	SampleRatio float64
	// Headers go with every request to the collector.
	Headers []TracingHeader
	// CA is a PEM file or folder of authorities; "" for those of the system.
	CA string
	// Service is the name of this program in traces.
	Service string
}

// TracingHeader is a header for the collector. Its value may be an API key.
type TracingHeader struct {
	Name  string
	Value Secret
}

// headers are all headers as one secret, zero if there are none.
func (t *Tracing) headers() Secret {
	if len(t.Headers) == 0 {
		return Secret{}
	}
	lines := make([]string, len(t.Headers))
	for i, h := range t.Headers {
		lines[i] = h.Name + "=" + h.Value.Reveal()
	}
	return NewSecret(strings.Join(lines, "\n"))
}

// TypeRatio is a number from 0 to 1.
const TypeRatio Type = "ratio"

func tracingSettings() []Setting {
	return []Setting{
		{
			Path: "tracing.endpoint", Type: TypeString, Env: "BUCKETSEAL_TRACING_ENDPOINT",
			Usage: "send traces by OTLP over HTTP to this URL, as in http://collector:4318", set: setTracingEndpoint,
		},
		{
			Path: "tracing.sample_ratio", Type: TypeRatio, Default: "0.1", Env: "BUCKETSEAL_TRACING_SAMPLE_RATIO",
			Usage: "the share of requests that are traced, 0 to 1", set: setTracingRatio,
		},
		{
			Path: "tracing.headers", Type: TypeList, Env: "BUCKETSEAL_TRACING_HEADERS",
			Usage: "headers for the collector, as in \"Authorization=Bearer TOKEN\"", set: setTracingHeaders,
		},
		{
			Path: "tracing.ca", Type: TypeFile,
			Usage: "PEM file or folder of the certificate authorities that sign the collector's certificate", set: text(func(c *Config) *string { return &c.Tracing.CA }),
		},
		{
			Path: "tracing.service_name", Type: TypeString, Default: "bucketseal",
			Usage: "the name of this server in traces", set: text(func(c *Config) *string { return &c.Tracing.Service }),
		},
	}
}

func setTracingEndpoint(c *Config, values []string) error {
	u, err := url.Parse(values[0])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("this is no URL of a collector; write it as in http://collector:4318, and what authenticates in tracing.headers")
	}
	c.Tracing.Endpoint = u
	return nil
}

func setTracingRatio(c *Config, values []string) error {
	r, err := strconv.ParseFloat(values[0], 64)
	if err != nil || math.IsNaN(r) || r < 0 || r > 1 {
		return fmt.Errorf("%q is no number from 0 to 1", values[0])
	}
	c.Tracing.SampleRatio = r
	return nil
}

func setTracingHeaders(c *Config, values []string) error {
	var headers []TracingHeader
	for i, v := range values {
		name, value, ok := strings.Cut(v, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || value == "" || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("entry %d is no header; write NAME=VALUE", i+1) // without it: it may be a secret
		}
		headers = append(headers, TracingHeader{name, NewSecret(value)})
	}
	c.Tracing.Headers, c.holdsSecret = headers, true
	return nil
}
