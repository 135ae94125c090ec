package config

import (
	"fmt"
	"strings"
	"testing"
)

const tracedServer = "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {mem: {}}\n"

func parseTraced(text string) (*Config, error) {
	return Parse("kes.yml", []byte(tracedServer+text), func(name string) (string, bool) {
		return "Authorization=Bearer secret-token", name == "OTLP"
	})
}

func TestTracingOfAKeyServer(t *testing.T) {
	t.Parallel()
	c, err := parseTraced("tracing: {endpoint: \"https://collector:4318/otlp\", sample_ratio: 0.5, headers: [\"${OTLP}\"], ca: ca.pem, service_name: keys}\n")
	if err != nil {
		t.Fatal(err)
	}
	got := c.Tracing
	if got.Endpoint.String() != "https://collector:4318/otlp" || got.SampleRatio != 0.5 || len(got.Headers) != 1 || got.Headers[0].Value() != "Bearer secret-token" || got.CA != "ca.pem" || got.Service != "keys" {
		t.Errorf("%+v", got)
	}
	if text := fmt.Sprintf("%+v %#v", c, c); strings.Contains(text, "secret-token") {
		t.Error("the configuration prints the token")
	}
	short, err := parseTraced("tracing: {endpoint: \"http://127.0.0.1:4318\"}\n")
	if err != nil || short.Tracing.SampleRatio != 0.1 || short.Tracing.Service != "bucketseal" || short.Tracing.Equal(&got) || !got.Equal(&c.Tracing) {
		t.Errorf("%+v, %v", short, err)
	}
	if c, err := parseTraced(""); err != nil || c.Tracing.Endpoint != nil {
		t.Errorf("without the section: %+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"tracing: {sample_ratio: 0.5}\n":                                    "tracing.endpoint",
		"tracing: {endpoint: \"http://user:secret@host\"}\n":                "tracing.endpoint",
		"tracing: {endpoint: \"http://host\", sample_ratio: 2}\n":           "tracing.sample_ratio",
		"tracing: {endpoint: \"http://host\", headers: [secret]}\n":         "tracing.headers: entry 1",
		"tracing: {endpoint: \"http://host\", headers: [\"${UNKNOWN}\"]}\n": "UNKNOWN is not set",
		"tracing: {endpoint: \"http://host\", ratio: 1}\n":                  "unknown key",
	} {
		if _, err := parseTraced(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTracingInAProxyIsNotUsed(t *testing.T) {
	t.Parallel()
	c, err := ParseEmbedded("p.yml", []byte("keystore: {mem: {}}\ntracing: {endpoint: \"http://host\"}\n"), "", func(string) (string, bool) { return "", false })
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Text, "tracing is not used here") {
		t.Errorf("%+v, %v", c, err)
	}
}
