package s3api

import (
	"net/url"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// The source of a copy has the one name of its object, which written down anew is the same.
func FuzzCopySource(f *testing.F) {
	for _, s := range []string{
		"/bucket/key", "bucket/key?versionId=01234567-89ab-cdef-0123-456789abcdef", "bucket/a%2Fb%3Fc", "bucket//a/../b", "bucket/k?versionId=null",
		"bucket/k?versionId=..", "minio/k", "bucket/%00", "bucket/a+b", "%2fbucket%2fkey", "bucket/k?x;y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		name, version, err := parseSourceName(header)
		if err != nil {
			return
		}
		if again, err := objectname.Of(name.Bucket, name.Key); err != nil || again != name {
			t.Fatalf("%q is %q, and that is %q: %v", header, name, again, err)
		}
		if version != "" && version != "null" && !isVersionID(version) {
			t.Fatalf("%q has the version %q", header, version)
		}
		text := storage.Source{Name: name, Version: version, Slash: true}.Text()
		if again, v, err := parseSourceName(text); err != nil || again != name || v != version {
			t.Fatalf("%q is %q %q, and as %q it is %q %q: %v", header, name, version, text, again, v, err)
		}
		if strings.ContainsAny(text, "\r\n\x00") {
			t.Fatalf("%q goes to MinIO as %q", header, text)
		}
	})
}

// Tags of a form are those of the header that they become.
func FuzzFormTags(f *testing.F) {
	f.Add("<Tagging><TagSet><Tag><Key>a</Key><Value>b&amp;c</Value></Tag></TagSet></Tagging>")
	f.Add("<Tagging><TagSet><Tag><Key>a</Key></Tag><Tag><Key>a</Key></Tag></TagSet></Tagging>")
	f.Add("<Tagging/>x")
	f.Fuzz(func(t *testing.T, document string) {
		header, err := formTags(document)
		if err != nil {
			return
		}
		values, err := url.ParseQuery(header)
		if err != nil || strings.ContainsAny(header, "\r\n ") || len(header) > 3*len(document) {
			t.Fatalf("%q is %q: %v", document, header, err)
		}
		for key, all := range values {
			if len(all) != 1 {
				t.Fatalf("%q has %q %d times", document, key, len(all))
			}
		}
	})
}
