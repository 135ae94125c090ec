package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms/config"
)

// TestDocumentedConfigurationsLoad keeps docs/kms.md from showing what does not
// work.
func TestDocumentedConfigurationsLoad(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/kms.md")
	if err != nil {
		t.Fatal(err)
	}
	environment := func(name string) (string, bool) {
		switch {
		case strings.HasPrefix(name, "ADMIN"):
			return strings.Repeat("a", 64), true
		case strings.HasPrefix(name, "MINIO"):
			return strings.Repeat("b", 64), true
		case strings.HasSuffix(name, "AUTHORIZATION"):
			return "Authorization=Bearer token", true
		case strings.HasSuffix(name, "IDENTITY"):
			return strings.Repeat("c", 64), true
		}
		return "something", true
	}
	blocks := 0
	for _, block := range strings.Split(string(page), "```yaml")[1:] {
		_, text, _ := strings.Cut(block, "\n") // after what the documentation's runner is told
		text, _, ok := strings.Cut(text, "```")
		if !ok || strings.HasPrefix(text, "# ") {
			continue
		}
		blocks++
		section := ""
		if strings.HasPrefix(text, "kms:") {
			section = "kms"
		}
		if _, err := config.ParseEmbedded("docs/kms.md", []byte(text), section, environment); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if blocks < 6 {
		t.Errorf("only %d configurations found", blocks)
	}
}
