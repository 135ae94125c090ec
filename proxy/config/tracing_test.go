package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestTracingIsCheckedAndTellsNoSecret(t *testing.T) {
	t.Parallel()
	const token = "collector-token-0123456789"
	for setting, want := range map[string]string{
		"endpoint: collector:4318":                 "tracing.endpoint",
		"endpoint: \"ftp://collector\"":            "tracing.endpoint",
		"endpoint: \"http://u:" + token + "@c\"":   "tracing.headers",
		"endpoint: \"http://c?key=" + token + "\"": "tracing.headers",
		"sample_ratio: 1.5":                        "no number from 0 to 1",
		"sample_ratio: -1":                         "no number from 0 to 1",
		"sample_ratio: .nan":                       "tracing.sample_ratio",
		"sample_ratio: \"much\"":                   "no number from 0 to 1",
		"sample_ratio: [1]":                        "tracing.sample_ratio",
		"headers: [\"" + token + "\"]":             "NAME=VALUE",
		"headers: [\"a b=" + token + "\"]":         "NAME=VALUE",
		"headers: [\"X=" + token + "\\nY: z\"]":    "NAME=VALUE",
	} {
		_, err := Parse("t.yml", []byte("tracing: {"+setting+"}\n"), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, ratio := range []string{"0", "1", "0.5", "1e-3", "\"0.5\""} {
		if _, err := Parse("t.yml", []byte("tracing: {sample_ratio: "+ratio+"}\n"), nil); err != nil {
			t.Errorf("%s: %v", ratio, err)
		}
	}
	c, err := Parse("t.yml", []byte("tracing: {endpoint: \"http://c\", headers: [\"Authorization=Bearer "+token+"\"]}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c.Tracing); strings.Contains(text, token) {
		t.Errorf("it prints %s", text)
	}
	if c.Tracing.Headers[0].Value() != "Bearer "+token || c.Tracing.SampleRatio != 0.1 {
		t.Errorf("%+v", c.Tracing)
	}
}
