package proxy

import (
	"strings"
	"testing"
)

func TestBucketsInHosts(t *testing.T) {
	t.Parallel()
	d := domains{"s3.example.com", "example.com", "localhost"}
	for host, want := range map[string]string{
		"":                          "-",
		"s3.example.com":            "-",
		"S3.EXAMPLE.COM.:9000":      "-",
		"example.com:443":           "-",
		"other.test":                "-",
		"bexample.com":              "-",
		"127.0.0.1:9000":            "-",
		"[::1]:9000":                "-",
		"[::1]":                     "-",
		"photos.s3.example.com":     "photos",
		"photos.s3.example.com:80":  "photos",
		"photos.s3.example.com.":    "photos",
		"Photos.S3.Example.com":     "photos",
		"my.photos.s3.example.com":  "my.photos",
		"photos.example.com":        "photos",
		"photos.localhost:8080":     "photos",
		".s3.example.com":           "",
		"%62.s3.example.com":        "%62",
		"s3.example.com.localhost":  "s3.example.com",
		"127.0.0.1.s3.example.com:": "127.0.0.1",
	} {
		got, ok := d.bucket(host)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: bucket %q, want %q", host, got, want)
		}
	}
	if _, ok := domains(nil).bucket("photos.example.com"); ok {
		t.Error("a bucket below no domain")
	}
}

func FuzzVirtualHost(f *testing.F) {
	for _, host := range []string{"a.s3.example.com", "a.s3.example.com:80", "..s3.example.com", "[::1]", "bucketseal-system.s3.example.com.", "%2e.example.com", ":", "."} {
		f.Add(host)
	}
	d := domains{"s3.example.com", "example.com"}
	f.Fuzz(func(t *testing.T, host string) {
		name, ok := d.bucket(host)
		if ok && !strings.HasPrefix(strings.ToLower(host), name+".") {
			t.Errorf("%q: bucket %q does not begin it", host, name)
		}
		if again, same := d.bucket(strings.ToUpper(host)); isASCII(host) && (again != name || same != ok) {
			t.Errorf("%q: case counts: %q, %q", host, name, again)
		}
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}
