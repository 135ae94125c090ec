package upstream

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

const pageV2 = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix><KeyCount>3</KeyCount><MaxKeys>2</MaxKeys><Delimiter>%2F</Delimiter><IsTruncated>true</IsTruncated><NextContinuationToken>dG9rZW4=</NextContinuationToken>` +
	`<Contents><Key>a%2Bb+c</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified><ETag>&#34;e1&#34;</ETag><Size>131</Size><Owner><ID>id</ID><DisplayName>minio</DisplayName></Owner><StorageClass>STANDARD</StorageClass>` +
	`<UserMetadata><X-Amz-Meta-Bucketseal>record</X-Amz-Meta-Bucketseal><content-type>text/plain</content-type><X-Amz-Meta-Key>not the key</X-Amz-Meta-Key></UserMetadata><UserTags>a=b&amp;c=d</UserTags><Internal><K>1</K><M>0</M></Internal></Contents>` +
	`<Contents><Key>z</Key><LastModified>2026-03-01T12:00:01.000Z</LastModified><ETag>"e2"</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>` +
	`<CommonPrefixes><Prefix>dir%2F</Prefix></CommonPrefixes><EncodingType>url</EncodingType></ListBucketResult>`

func TestPageOfObjects(t *testing.T) {
	t.Parallel()
	got, err := ParseList(strings.NewReader(pageV2))
	if err != nil {
		t.Fatal(err)
	}
	want := &storage.Page{
		MaxKeys: "2", KeyCount: "3", Truncated: true, NextToken: "dG9rZW4=", Prefixes: []string{"dir%2F"},
		Entries: []storage.Entry{
			{
				Key: "a%2Bb+c", LastModified: "2026-03-01T12:00:00.000Z", ETag: `"e1"`, StorageClass: "STANDARD", Size: 131,
				OwnerID: "id", OwnerName: "minio", HasMetadata: true, UserTags: "a=b&c=d", InternalK: "1", InternalM: "0",
				Metadata: []storage.MetaEntry{{Name: "X-Amz-Meta-Bucketseal", Value: "record"}, {Name: "content-type", Value: "text/plain"}, {Name: "X-Amz-Meta-Key", Value: "not the key"}},
			},
			{Key: "z", LastModified: "2026-03-01T12:00:01.000Z", ETag: `"e2"`, StorageClass: "STANDARD"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

const pageVersions = `<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><KeyMarker></KeyMarker><VersionIdMarker></VersionIdMarker><NextKeyMarker>k%2F2</NextKeyMarker><NextVersionIdMarker>v2</NextVersionIdMarker><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>` +
	`<DeleteMarker><Key>k</Key><LastModified>t</LastModified><Owner><ID>id</ID></Owner><IsLatest>true</IsLatest><VersionId>v3</VersionId><Internal><K>0</K><M>0</M></Internal></DeleteMarker>` +
	`<Version><Key>k</Key><LastModified>t</LastModified><ETag>"e"</ETag><Size>33</Size><StorageClass>STANDARD</StorageClass><IsLatest>false</IsLatest><VersionId>v2</VersionId><UserMetadata><X-Amz-Meta-Bucketseal>r</X-Amz-Meta-Bucketseal></UserMetadata></Version>` +
	`</ListVersionsResult>`

func TestPageOfVersions(t *testing.T) {
	t.Parallel()
	got, err := ParseList(strings.NewReader(pageVersions))
	if err != nil {
		t.Fatal(err)
	}
	want := &storage.Page{
		MaxKeys: "1000", Truncated: true, NextKeyMarker: "k%2F2", NextVersionMarker: "v2",
		Entries: []storage.Entry{
			{Key: "k", LastModified: "t", OwnerID: "id", IsLatest: "true", VersionID: "v3", DeleteMarker: true, HasMetadata: true, InternalK: "0", InternalM: "0"},
			{Key: "k", LastModified: "t", ETag: `"e"`, Size: 33, StorageClass: "STANDARD", IsLatest: "false", VersionID: "v2", HasMetadata: true, Metadata: []storage.MetaEntry{{Name: "X-Amz-Meta-Bucketseal", Value: "r"}}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEmptyPage(t *testing.T) {
	t.Parallel()
	got, err := ParseList(strings.NewReader(`<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>`))
	if err != nil || got.Truncated || len(got.Entries) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMetadataOfEveryCaseIsKept(t *testing.T) {
	t.Parallel()
	got, err := ParseList(strings.NewReader(`<ListBucketResult><Contents><UserMetadata><X-Amz-Meta-Bucketseal>1</X-Amz-Meta-Bucketseal>` +
		`<x-amz-meta-bucketseal>2</x-amz-meta-bucketseal><X-Amz-Meta-Bucketseal>3</X-Amz-Meta-Bucketseal></UserMetadata></Contents></ListBucketResult>`))
	if err != nil {
		t.Fatal(err)
	}
	if want := []storage.MetaEntry{{Name: "X-Amz-Meta-Bucketseal", Value: "1"}, {Name: "x-amz-meta-bucketseal", Value: "2"}, {Name: "X-Amz-Meta-Bucketseal", Value: "3"}}; !reflect.DeepEqual(got.Entries[0].Metadata, want) {
		t.Errorf("got %v: a second record would go unnoticed", got.Entries[0].Metadata)
	}
}

func TestPagesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":              "",
		"cut":                  pageV2[:len(pageV2)-30],
		"cut in an entry":      pageV2[:400],
		"another document":     "<Error><Code>x</Code></Error>",
		"a size that is none":  "<ListBucketResult><Contents><Size>12x</Size></Contents></ListBucketResult>",
		"a size that is empty": "<ListBucketResult><Contents><Size></Size></Contents></ListBucketResult>",
		"illegal name":         "<ListBucketResult><Contents><UserMetadata><X-Amz-Meta-A~!>x</X-Amz-Meta-A~!></UserMetadata></Contents></ListBucketResult>",
		"control character":    "<ListBucketResult><Contents><Key>a&#x1;</Key></Contents></ListBucketResult>",
		"elements crossed":     "<ListBucketResult><Contents><Key></Contents></Key></ListBucketResult>",
		"an end too many":      "<ListBucketResult></ListBucketResult></ListBucketResult>",
		"not UTF-8":            "<ListBucketResult><Contents><Key>\xff</Key></Contents></ListBucketResult>",
	} {
		if page, err := ParseList(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, page)
		}
	}
}

func TestPageThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	if _, err := ParseList(io.MultiReader(strings.NewReader(pageV2[:500]), errorReader{broken})); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestListAsksForNamesInURLEncoding(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.RequestURI != "/b?encoding-type=url&list-type=2" {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
		_, _ = io.WriteString(w, pageV2)
	})
	page, err := client.List(t.Context(), &Request{Bucket: "b", Credential: testCredential}, url.Values{"list-type": {"2"}, "encoding-type": {"x"}})
	if err != nil || len(page.Entries) != 2 {
		t.Errorf("got %v, %v", page, err)
	}
}

func TestListTellsAnErrorFromAPageThatDoesNotParse(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/denied" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
			return
		}
		_, _ = io.WriteString(w, pageV2[:300])
	})
	var answered *storage.Error
	if _, err := client.List(t.Context(), &Request{Bucket: "denied"}, url.Values{}); !errors.As(err, &answered) || answered.Code != "AccessDenied" {
		t.Errorf("denied: %v", err)
	}
	if _, err := client.List(t.Context(), &Request{Bucket: "b"}, url.Values{}); !errors.Is(err, storage.ErrListing) {
		t.Errorf("a cut page: %v", err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add(pageV2)
	f.Add(pageVersions)
	f.Add(`<ListBucketResult><Contents><Contents><Key>x</Key></Contents></Contents></ListBucketResult>`)
	f.Fuzz(func(t *testing.T, text string) {
		page, err := ParseList(strings.NewReader(text))
		if (page == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", text, page, err)
		}
		if err != nil {
			return
		}
		if n := strings.Count(text, "<"); len(page.Entries) > n || len(page.Prefixes) > n {
			t.Fatalf("%d entries and %d prefixes of %d elements", len(page.Entries), len(page.Prefixes), n)
		}
	})
}
