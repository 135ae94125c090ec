package config

import (
	"strconv"

	"github.com/bucketseal/bucketseal/operator/collector"
)

// TypeRatio is a number from 0 to 1.
const TypeRatio Type = "ratio"

func tracingSettings() []Setting {
	return []Setting{
		{
			Path: "tracing.endpoint", Type: TypeString, Env: "BUCKETSEAL_TRACING_ENDPOINT",
			Usage: "send traces by OTLP over HTTP to this URL, as in http://collector:4318", set: setTracingEndpoint,
		},
		{
			Path: "tracing.sample_ratio", Type: TypeRatio, Default: strconv.FormatFloat(collector.DefaultSampleRatio, 'g', -1, 64), Env: "BUCKETSEAL_TRACING_SAMPLE_RATIO",
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
			Path: "tracing.service_name", Type: TypeString, Default: collector.DefaultService,
			Usage: "the name of this server in traces", set: text(func(c *Config) *string { return &c.Tracing.Service }),
		},
	}
}

func setTracingEndpoint(c *Config, values []string) (err error) {
	c.Tracing.Endpoint, err = collector.ParseEndpoint(values[0])
	return err
}

func setTracingRatio(c *Config, values []string) (err error) {
	c.Tracing.SampleRatio, err = collector.ParseRatio(values[0])
	return err
}

func setTracingHeaders(c *Config, values []string) (err error) {
	c.Tracing.Headers, err = collector.ParseHeaders(values)
	c.holdsSecret = true
	return err
}
