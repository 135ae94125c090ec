package s3api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

func TestNextMarkerOfVersion1(t *testing.T) {
	t.Parallel()
	entry := func(key string) storage.Entry { return storage.Entry{Key: key} }
	for _, tt := range []struct {
		name string
		page storage.Page
		want string
	}{
		{"from upstream's token", storage.Page{NextToken: "YS9i", Entries: []storage.Entry{entry("z")}}, "a/b"},
		{"with what MinIO adds to it", storage.Page{NextToken: "a1ttaW5pb19jYWNoZTp2MixyZXR1cm46XQ=="}, "k[minio_cache:v2,return:]"},
		{"a token that is none", storage.Page{NextToken: "!", Entries: []storage.Entry{entry("a%2Bb"), entry("c+d")}}, "c d"},
		{"without a token", storage.Page{Entries: []storage.Entry{entry("a"), entry("b")}}, "b"},
		{"a prefix comes last", storage.Page{Entries: []storage.Entry{entry("a")}, Prefixes: []string{"A%2F", "b%2F"}}, "b/"},
		{"a key comes last", storage.Page{Entries: []storage.Entry{entry("z")}, Prefixes: []string{"b%2F"}}, "z"},
		{"nothing", storage.Page{}, ""},
	} {
		if got := nextMarker(&tt.page); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// listEntry is an entry with its object's record.
type listEntry struct {
	storage.Entry
	as *sse.Encryption
}

// renderedListing is the answer to a listing with this query.
func renderedListing(t *testing.T, l *listing, query string, page *storage.Page, entries []listEntry) string {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	l.request = &intake.Request{Bucket: "b", Query: values}
	listed := &vault.Page{Page: page}
	for _, e := range entries {
		page.Entries, listed.Known = append(page.Entries, e.Entry), append(listed.Known, vault.Known{Encryption: e.as})
	}
	text, ok := strings.CutPrefix(string(l.render(listed)), `<?xml version="1.0" encoding="UTF-8"?>`+"\n")
	if !ok {
		t.Fatal("no XML declaration")
	}
	return strings.ReplaceAll(text, ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`, "")
}

// listedEntry is an SSE-KMS object of one byte whose name needs escaping twice.
func listedEntry() listEntry {
	return listEntry{
		Entry: storage.Entry{
			Key: "a%3C%0A%2B+b", LastModified: "t", ETag: `"e"`, Size: 1, StorageClass: "STANDARD", OwnerID: "id", OwnerName: "minio",
			VersionID: "v1", IsLatest: "true", HasMetadata: true, UserTags: "a=b&c=d", InternalK: "1", InternalM: "0",
			Metadata: []storage.MetaEntry{{Name: "X-Amz-Meta-Bucketseal", Value: "record"}, {Name: "x-amz-meta-bucketSEAL-2", Value: "record"}, {Name: "X-Amz-Meta-A", Value: "<v>"}, {Name: "content-type", Value: "text/plain"}},
		},
		as: &sse.Encryption{Mode: sse.ModeKMS, KMSKey: "k"},
	}
}

const (
	rawName   = "a&lt;&#xA;+ b"
	ownerXML  = "<Owner><ID>id</ID><DisplayName>minio</DisplayName></Owner>"
	entryHead = "<LastModified>t</LastModified><ETag>&#34;e&#34;</ETag><Size>1</Size>"
)

func TestListObjectsV2IsWrittenAsS3WritesIt(t *testing.T) {
	t.Parallel()
	page := &storage.Page{MaxKeys: "2", KeyCount: "2", Truncated: true, NextToken: "dG9rZW4=", Prefixes: []string{"p+%26%2F"}}
	got := renderedListing(t, &listing{kind: listV2}, "prefix=a%26&delimiter=/&start-after=x&continuation-token=c", page, []listEntry{listedEntry()})
	want := "<ListBucketResult><Name>b</Name><Prefix>a&amp;</Prefix><StartAfter>x</StartAfter><ContinuationToken>c</ContinuationToken>" +
		"<NextContinuationToken>dG9rZW4=</NextContinuationToken><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>" +
		"<Contents><Key>" + rawName + "</Key>" + entryHead + "<StorageClass>STANDARD</StorageClass></Contents>" +
		"<CommonPrefixes><Prefix>p &amp;/</Prefix></CommonPrefixes></ListBucketResult>"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestListObjectsV2InURLEncoding(t *testing.T) {
	t.Parallel()
	page := &storage.Page{MaxKeys: "2", KeyCount: "1", Prefixes: []string{"p+%26%2F"}}
	got := renderedListing(t, &listing{kind: listV2, encode: true, owner: true}, "prefix=a+%26/&encoding-type=url", page, []listEntry{listedEntry()})
	want := "<ListBucketResult><Name>b</Name><Prefix>a+%26/</Prefix><KeyCount>1</KeyCount><MaxKeys>2</MaxKeys><IsTruncated>false</IsTruncated>" +
		"<Contents><Key>a%3C%0A%2B+b</Key>" + entryHead + ownerXML + "<StorageClass>STANDARD</StorageClass></Contents>" +
		"<CommonPrefixes><Prefix>p+%26%2F</Prefix></CommonPrefixes><EncodingType>url</EncodingType></ListBucketResult>"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestListObjectsV1HasMarkers(t *testing.T) {
	t.Parallel()
	page := &storage.Page{MaxKeys: "1", Truncated: true, NextToken: "YTxi"}
	got := renderedListing(t, &listing{kind: listV1, owner: true, marker: "m<"}, "marker=m%3C", page, []listEntry{listedEntry()})
	want := "<ListBucketResult><Name>b</Name><Prefix></Prefix><Marker>m&lt;</Marker><NextMarker>a&lt;b</NextMarker><MaxKeys>1</MaxKeys><IsTruncated>true</IsTruncated>" +
		"<Contents><Key>" + rawName + "</Key>" + entryHead + ownerXML + "<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestListObjectVersionsShowsDeleteMarkers(t *testing.T) {
	t.Parallel()
	marker := listEntry{Entry: storage.Entry{Key: "k", LastModified: "t", VersionID: "v2", IsLatest: "true", DeleteMarker: true, HasMetadata: true}}
	page := &storage.Page{MaxKeys: "2", Truncated: true, NextKeyMarker: "a%3C", NextVersionMarker: "v1"}
	got := renderedListing(t, &listing{kind: listVersions, owner: true}, "versions&key-marker=k&version-id-marker=v", page, []listEntry{marker, listedEntry()})
	want := "<ListVersionsResult><Name>b</Name><Prefix></Prefix><KeyMarker>k</KeyMarker><VersionIdMarker>v</VersionIdMarker><NextKeyMarker>a&lt;</NextKeyMarker>" +
		"<NextVersionIdMarker>v1</NextVersionIdMarker><MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated>" +
		"<DeleteMarker><Key>k</Key><LastModified>t</LastModified><IsLatest>true</IsLatest><VersionId>v2</VersionId></DeleteMarker>" +
		"<Version><Key>" + rawName + "</Key>" + entryHead + ownerXML + "<StorageClass>STANDARD</StorageClass><IsLatest>true</IsLatest><VersionId>v1</VersionId></Version>" +
		"</ListVersionsResult>"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestListedMetadataIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	got := renderedListing(t, &listing{kind: listV2, metadata: true}, "metadata=true", &storage.Page{}, []listEntry{listedEntry()})
	want := "<UserMetadata><X-Amz-Meta-A>&lt;v&gt;</X-Amz-Meta-A><content-type>text/plain</content-type>" +
		"<X-Amz-Server-Side-Encryption>aws:kms</X-Amz-Server-Side-Encryption><X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id>arn:aws:kms:k</X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id></UserMetadata>"
	if !strings.Contains(got, want) || strings.Contains(strings.ToLower(got), "bucketseal") || !strings.Contains(got, "<UserTags>a=b&amp;c=d</UserTags>") {
		t.Errorf("got %s", got)
	}
	for mode, want := range map[sse.Mode]string{
		sse.ModeS3: "<X-Amz-Server-Side-Encryption>AES256</X-Amz-Server-Side-Encryption>",
		sse.ModeC:  "<X-Amz-Server-Side-Encryption-Customer-Algorithm>AES256</X-Amz-Server-Side-Encryption-Customer-Algorithm>",
	} {
		e := listedEntry()
		e.as = &sse.Encryption{Mode: mode}
		if got := renderedListing(t, &listing{kind: listV2, metadata: true}, "", &storage.Page{}, []listEntry{e}); !strings.Contains(got, want) {
			t.Errorf("%v: %s", mode, got)
		}
	}
	hidden := listedEntry()
	hidden.HasMetadata = false
	if got := renderedListing(t, &listing{kind: listV2, metadata: true}, "", &storage.Page{}, []listEntry{hidden}); strings.Contains(got, "UserMetadata") {
		t.Errorf("a caller that may not read it sees %s", got)
	}
}

func TestUnknownEncodingTypeIsRefused(t *testing.T) {
	t.Parallel()
	l := &listing{request: &intake.Request{Request: &http.Request{}, Query: url.Values{"encoding-type": {"base64"}}}}
	if e := Describe(l.serve(nil)); e.Status != 400 || e.Code != "InvalidArgument" {
		t.Errorf("got %v", e)
	}
}
