package bucketconfig

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// measured is what MinIO with a static KMS key "my-key" answered to PUT ?encryption, and then to GET ?encryption.
type measured struct {
	Name   string
	Body   string
	Body64 []byte // instead of Body where that is not UTF-8
	Status int
	Code   string
	Reason string // what stands in parentheses behind the message of MalformedXML
	Get    string
}

func loadMeasured(tb testing.TB) []measured {
	tb.Helper()
	data, err := os.ReadFile("testdata/minio-put-encryption.json")
	if err != nil {
		tb.Fatal(err)
	}
	var cases []measured
	if err := json.Unmarshal(data, &cases); err != nil {
		tb.Fatal(err)
	}
	for i := range cases {
		if cases[i].Body64 != nil {
			cases[i].Body = string(cases[i].Body64)
		}
	}
	return cases
}

// stricter holds the documents that MinIO accepts and ParseXML refuses, or refuses for another reason, on purpose.
var stricter = map[string]string{
	"other ns":              `expected element <ServerSideEncryptionConfiguration> in name space http://s3.amazonaws.com/doc/2006-03-01/ but have http://example.com/`,
	"undeclared prefix":     reasonAlgorithm,
	"child other ns":        reasonAlgorithm,
	"alg missing":           reasonAlgorithm,
	"alg missing key":       reasonAlgorithm,
	"apply missing":         reasonAlgorithm,
	"rule self":             reasonAlgorithm,
	"alg element inside":    "SSEAlgorithm contains an element",
	"alg twice same":        "SSEAlgorithm is given more than once",
	"alg twice kms":         "SSEAlgorithm is given more than once",
	"key twice":             "KMSMasterKeyID is given more than once",
	"apply twice":           "ApplyServerSideEncryptionByDefault is given more than once",
	"apply twice2":          "ApplyServerSideEncryptionByDefault is given more than once",
	"bucketkey junk":        "BucketKeyEnabled is neither true nor false",
	"blocked types":         "BlockedEncryptionTypes is not supported",
	"trailing text":         "text outside the root element",
	"leading text":          "text outside the root element",
	"trailing element":      "more than one root element",
	"trailing second doc":   "more than one root element",
	"trailing garbage":      "XML syntax error on line 1: expected element name after <",
	"doctype":               "document type declarations are not allowed",
	"doctype entity":        "document type declarations are not allowed",
	"doctype entity unused": "document type declarations are not allowed",
}

func TestParseXMLAnswersAsMinIO(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range loadMeasured(t) {
		seen[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			rule, err := ParseXML(strings.NewReader(c.Body))
			want, differs := stricter[c.Name]
			if !differs {
				want = c.Reason
			} else if want == c.Reason {
				t.Fatal("listed as stricter than MinIO, but it is not")
			}
			if want == "" {
				if err != nil {
					t.Fatalf("MinIO answers %d %s, ParseXML: %v", c.Status, c.Code, err)
				}
				if got := string(rule.XML()); c.Get != "" && !rule.BucketKeyEnabled && got != c.Get {
					t.Errorf("XML:\n got %s\nwant %s", got, c.Get)
				}
				return
			}
			wantReason(t, err, want)
		})
	}
	for name := range stricter {
		if !seen[name] {
			t.Errorf("no measured case %q", name)
		}
	}
}

func wantReason(t *testing.T, err error, want string) {
	t.Helper()
	var invalid *InvalidRuleError
	if !errors.As(err, &invalid) || !errors.Is(err, ErrMalformedXML) {
		t.Fatalf("error %v, want *InvalidRuleError", err)
	}
	if invalid.Reason != want {
		t.Errorf("reason %q, want %q", invalid.Reason, want)
	}
}

func document(rule string) string {
	return "<ServerSideEncryptionConfiguration><Rule>" + rule + "</Rule></ServerSideEncryptionConfiguration>"
}

const byDefaultKMS = "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>" +
	"<KMSMasterKeyID>arn:aws:kms:k&amp;&quot;1</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>"

func TestXMLKeepsBucketKeyAndEscapesKey(t *testing.T) {
	t.Parallel()
	rule, err := ParseXML(strings.NewReader(document(byDefaultKMS + "<BucketKeyEnabled> 1\n</BucketKeyEnabled>" +
		"<BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>")))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Rule{Algorithm: AWSKMS, KMSKeyID: `arn:aws:kms:k&"1`, BucketKeyEnabled: true}); rule != want {
		t.Fatalf("rule %+v, want %+v", rule, want)
	}
	if rule.KeyName() != `k&"1` {
		t.Errorf("key name %q", rule.KeyName())
	}
	want := `<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>` +
		`<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>` +
		`<KMSMasterKeyID>arn:aws:kms:k&amp;&#34;1</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>` +
		`<BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>`
	if got := string(rule.XML()); got != want {
		t.Errorf("XML:\n got %s\nwant %s", got, want)
	}
}

func TestParseXMLBounds(t *testing.T) {
	t.Parallel()
	const aes = "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"
	nested := func(n int) string {
		return document(aes + strings.Repeat("<a>", n) + strings.Repeat("</a>", n))
	}
	sized := func(n int) string {
		doc := document(aes)
		return doc + strings.Repeat(" ", n-len(doc))
	}
	long := func(n int) string {
		return document("<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>" +
			strings.Repeat("k", n) + "</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>")
	}
	for _, c := range []struct{ name, body, reason string }{
		{"depth allowed", nested(maxXMLDepth - 2), ""},
		{"depth refused", nested(maxXMLDepth - 1), "elements are nested too deeply"},
		{"far too deep", nested(5000), "elements are nested too deeply"},
		{"size allowed", sized(maxXMLSize), ""},
		{"size refused", sized(maxXMLSize + 1), "document is larger than 65536 bytes"},
		{"key id allowed", long(maxKeyID), ""},
		{"key id refused", long(maxKeyID + 1), reasonKeyChars},
		{"bucket key twice", document(aes + strings.Repeat("<BucketKeyEnabled>true</BucketKeyEnabled>", 2)), "BucketKeyEnabled is given more than once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseXML(strings.NewReader(c.body))
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantReason(t, err, c.reason)
		})
	}
}

func TestReasonIsShort(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("ä", maxReason)
	_, err := ParseXML(strings.NewReader("<" + name + "/>"))
	var invalid *InvalidRuleError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	if n := len(invalid.Reason); n > maxReason || n < maxReason-4 || strings.ContainsRune(invalid.Reason, '\uFFFD') {
		t.Errorf("reason has %d bytes: %q", n, invalid.Reason)
	}
}

// A body that was cut off, or whose digest is wrong, is for the caller to name; it must not look like a bad document.
func TestParseXMLPassesReadErrorsOn(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("digest does not match")} {
		body := io.MultiReader(strings.NewReader(document(byDefaultKMS)), iotest.ErrReader(cause))
		_, err := ParseXML(body)
		if !errors.Is(err, cause) || errors.Is(err, ErrMalformedXML) {
			t.Errorf("error %v, want %v", err, cause)
		}
	}
}

func FuzzParseXML(f *testing.F) {
	for _, c := range loadMeasured(f) {
		f.Add([]byte(c.Body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rule, err := ParseXML(bytes.NewReader(data))
		if err != nil {
			var invalid *InvalidRuleError
			if !errors.As(err, &invalid) || invalid.Reason == "" || len(invalid.Reason) > maxReason {
				t.Fatalf("error %v", err)
			}
			return
		}
		if rule.check() != nil {
			t.Fatalf("accepted %+v", rule)
		}
		out := rule.XML()
		again, err := ParseXML(bytes.NewReader(out))
		if err != nil || again != rule {
			t.Fatalf("%+v became %+v (%v) by way of %s", rule, again, err, out)
		}
		// encoding/xml's own reading of what we answer must agree with ours.
		var doc struct {
			Rule struct {
				Apply struct{ SSEAlgorithm, KMSMasterKeyID string } `xml:"ApplyServerSideEncryptionByDefault"`
			}
		}
		if err := xml.Unmarshal(out, &doc); err != nil || doc.Rule.Apply.SSEAlgorithm != string(rule.Algorithm) || doc.Rule.Apply.KMSMasterKeyID != rule.KMSKeyID {
			t.Fatalf("%+v reads as %+v (%v)", rule, doc, err)
		}
	})
}
