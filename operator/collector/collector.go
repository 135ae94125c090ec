// Package collector has the settings of a collector of traces, as a proxy's file and a key
// server's say them. Package otlp sends to it.
package collector

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The settings that a file need not have.
const (
	DefaultSampleRatio = 0.1
	DefaultService     = "bucketseal"
)

// Settings say where traces of requests are sent to.
type Settings struct {
	// Endpoint is the collector's URL, for OTLP over HTTP; nil for no tracing.
	Endpoint *url.URL
	// SampleRatio is the share of requests that are recorded, 0 to 1.
	SampleRatio float64
	// Headers go with every request to the collector.
	Headers []Header
	// CA is a PEM file or folder of authorities; "" for those of the system.
	CA string
	// Service is the name of this program in traces.
	Service string
}

// Equal says whether traces go the same way with both.
func (s *Settings) Equal(o *Settings) bool {
	return (s.Endpoint == nil) == (o.Endpoint == nil) && (s.Endpoint == nil || s.Endpoint.String() == o.Endpoint.String()) &&
		s.SampleRatio == o.SampleRatio && slices.Equal(s.Headers, o.Headers) && s.CA == o.CA && s.Service == o.Service
}

// Header is a header for the collector. Its value may be an API key, and does not print.
type Header struct {
	Name  string
	value string
}

// NewHeader returns a header.
func NewHeader(name, value string) Header { return Header{name, value} }

// Value reveals the value.
func (h Header) Value() string { return h.value }

// Format hides the value from every verb of fmt.
func (h Header) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.Name+"=[redacted]") }

// MarshalText hides the value from encoders.
func (h Header) MarshalText() ([]byte, error) { return []byte(h.Name + "=[redacted]"), nil }

// ParseEndpoint reads the URL of a collector. The error quotes nothing of it: people write
// passwords there.
func ParseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("this is no URL of a collector; write it as in http://collector:4318, and what authenticates in tracing.headers")
	}
	return u, nil
}

// ParseRatio reads a share, 0 to 1.
func ParseRatio(s string) (float64, error) {
	r, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(r) || r < 0 || r > 1 {
		return 0, fmt.Errorf("%q is no number from 0 to 1", s)
	}
	return r, nil
}

// ParseHeaders reads lines of NAME=VALUE. The error names the line by its number, from 1, and
// does not quote it.
func ParseHeaders(lines []string) ([]Header, error) {
	var headers []Header
	for i, line := range lines {
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || value == "" || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("entry %d is no header; write NAME=VALUE", i+1)
		}
		headers = append(headers, NewHeader(name, value))
	}
	return headers, nil
}

// Lines are all headers as one text; "" if there are none. It is a secret.
func (s *Settings) Lines() string {
	lines := make([]string, len(s.Headers))
	for i, h := range s.Headers {
		lines[i] = h.Name + "=" + h.value
	}
	return strings.Join(lines, "\n")
}
