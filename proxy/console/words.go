package console

import (
	"encoding/hex"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// functions are what the pages' templates call.
func (c *Console) functions() template.FuncMap {
	return template.FuncMap{
		"size": sizeText, "when": when, "dump": dump, "readable": readable, "list": func(all []string) string { return strings.Join(all, ", ") },
		"ago":  func(t time.Time) string { return ago(c.now().Sub(t)) },
		"base": func(prefix, name string) string { return strings.TrimPrefix(name, prefix) },
	}
}

// sentence makes one of an error's text.
func sentence(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	if text = string(unicode.ToUpper(r)) + text[n:]; !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// sizeText writes bytes with a unit.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, at := float64(n), 0
	for v >= 1024 && at < len(units)-1 {
		v, at = v/1024, at+1
	}
	if at == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[at])
}

// when writes a time.
func when(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// ago writes how long ago something was.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "a moment ago"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}

// dump writes bytes in hex, and what of them is text.
func dump(data []byte) string { return hex.Dump(data) }

// readable says how much of some bytes is printable ASCII, in percent. Of random bytes it is 37.
func readable(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	n := 0
	for _, b := range data {
		if b >= 0x20 && b < 0x7f || b == '\n' || b == '\t' {
			n++
		}
	}
	return 100 * n / len(data)
}
