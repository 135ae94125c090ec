package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestAuditSettingsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, text string }{
		{"required: true", "no sink keeps lines"},
		{"required: true\n  stdout: true", "no sink keeps lines"},
		{"webhook: {url: 'https://x/'}", "there is no queue"},
		{"webhook: {url: 'ftp://x/', queue: q}", "not of the form https://HOST/PATH"},
		{"webhook: {url: 'https://user:secret-text@x/', queue: q}", "without a user"},
		{"webhook: {url: 'https://x/', queue: q, token: a, token_file: b}", "both token and its file"},
		{"syslog: {address: 'log.example:514'}", "not of the form unix:///dev/log"},
		{"syslog: {address: 'tcp://log.example/x'}", "not of the form unix:///dev/log"},
		{"file: {path: a, max_size: 1}", "out of range"},
		{"fil: {path: a}", "unknown setting"},
	} {
		_, err := Parse("x.yml", []byte("audit:\n  "+tt.yaml+"\n"), nil)
		if !strings.Contains(fmt.Sprint(err), tt.text) || strings.Contains(fmt.Sprint(err), "secret-text") {
			t.Errorf("%s: %v", tt.yaml, err)
		}
	}
	for _, yaml := range []string{"required: true\n  file: {path: a}", "required: true\n  webhook: {url: 'http://x', queue: q}", "syslog: {address: 'unix:///dev/log'}", "syslog: {address: 'udp://x'}"} {
		if c, err := Parse("x.yml", []byte("audit:\n  "+yaml+"\n"), nil); err != nil || !c.Audit.Enabled() {
			t.Errorf("%s: %v", yaml, err)
		}
	}
	if c, err := Parse("x.yml", []byte("audit:\n  required: false\n"), nil); err != nil || c.Audit.Enabled() {
		t.Errorf("no sink: %v", err)
	}
}
