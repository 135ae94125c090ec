package s3api

import (
	"bytes"
	"encoding/xml"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// render writes the page for the client.
func (l *listing) render(p *vault.Page) []byte {
	b := bytes.NewBuffer(make([]byte, 0, 512+320*len(p.Entries)))
	root := "ListBucketResult"
	if l.kind == listVersions {
		root = "ListVersionsResult"
	}
	b.WriteString(xml.Header + `<` + root + ` xmlns="` + s3Namespace + `">`)
	l.renderHead(b, p.Page)
	for i := range p.Entries {
		l.renderEntry(b, &p.Entries[i], &p.Known[i])
	}
	for _, prefix := range p.Prefixes {
		b.WriteString("<CommonPrefixes>")
		element(b, "Prefix", l.encoded(prefix))
		b.WriteString("</CommonPrefixes>")
	}
	if l.encode {
		element(b, "EncodingType", l.request.Query.Get("encoding-type"))
	}
	b.WriteString("</" + root + ">")
	return b.Bytes()
}

func (l *listing) renderHead(b *bytes.Buffer, p *storage.Page) {
	q := l.request.Query
	element(b, "Name", l.request.Bucket)
	element(b, "Prefix", l.raw(q.Get("prefix")))
	switch l.kind {
	case listV1:
		element(b, "Marker", l.raw(l.marker))
		if p.Truncated {
			element(b, "NextMarker", l.raw(nextMarker(p)))
		}
	case listV2:
		if q.Has("start-after") {
			element(b, "StartAfter", l.raw(q.Get("start-after")))
		}
		if q.Has("continuation-token") {
			element(b, "ContinuationToken", q.Get("continuation-token"))
		}
		if p.Truncated {
			element(b, "NextContinuationToken", p.NextToken)
		}
		element(b, "KeyCount", p.KeyCount)
	case listVersions:
		element(b, "KeyMarker", l.raw(q.Get("key-marker")))
		element(b, "VersionIdMarker", q.Get("version-id-marker"))
		if p.Truncated {
			element(b, "NextKeyMarker", l.encoded(p.NextKeyMarker))
			element(b, "NextVersionIdMarker", p.NextVersionMarker)
		}
	}
	element(b, "MaxKeys", p.MaxKeys)
	if q.Get("delimiter") != "" {
		element(b, "Delimiter", l.raw(q.Get("delimiter")))
	}
	element(b, "IsTruncated", strconv.FormatBool(p.Truncated))
}

func (l *listing) renderEntry(b *bytes.Buffer, e *storage.Entry, known *vault.Known) {
	tag := "Contents"
	switch {
	case e.DeleteMarker:
		tag = "DeleteMarker"
	case l.kind == listVersions:
		tag = "Version"
	}
	b.WriteString("<" + tag + ">")
	element(b, "Key", l.encoded(e.Key))
	element(b, "LastModified", e.LastModified)
	if !e.DeleteMarker {
		element(b, "ETag", e.ETag)
		if sum := known.Checksum; sum != nil {
			element(b, "ChecksumAlgorithm", checksumOf(sum.Type).wire.String())
			element(b, "ChecksumType", checksumKind(sum))
		}
		element(b, "Size", strconv.FormatInt(e.Size, 10))
	}
	if l.owner && (e.OwnerID != "" || e.OwnerName != "") {
		b.WriteString("<Owner>")
		element(b, "ID", e.OwnerID)
		element(b, "DisplayName", e.OwnerName)
		b.WriteString("</Owner>")
	}
	if !e.DeleteMarker {
		element(b, "StorageClass", e.StorageClass)
	}
	if l.kind == listVersions {
		element(b, "IsLatest", e.IsLatest)
		element(b, "VersionId", e.VersionID)
	}
	if l.metadata && e.HasMetadata {
		l.renderMetadata(b, e, known.Encryption)
	}
	b.WriteString("</" + tag + ">")
}

// renderMetadata answers MinIO's metadata=true with what is the client's own.
func (l *listing) renderMetadata(b *bytes.Buffer, e *storage.Entry, as *sse.Encryption) {
	if !e.DeleteMarker {
		renderUserMetadata(b, e, as)
	}
	if e.UserTags != "" {
		element(b, "UserTags", e.UserTags)
	}
	if e.InternalK != "" {
		b.WriteString("<Internal>")
		element(b, "K", e.InternalK)
		element(b, "M", e.InternalM)
		b.WriteString("</Internal>")
	}
}

func renderUserMetadata(b *bytes.Buffer, e *storage.Entry, as *sse.Encryption) {
	b.WriteString("<UserMetadata>")
	for _, m := range e.Metadata {
		if !storage.IsReserved(m.Name) {
			element(b, m.Name, m.Value)
		}
	}
	if as != nil {
		switch as.Mode {
		case sse.ModeS3:
			element(b, sse.HeaderMethod, sse.MethodS3)
		case sse.ModeKMS:
			element(b, sse.HeaderMethod, sse.MethodKMS)
			element(b, sse.HeaderKMSKeyID, sse.KeyARNPrefix+as.KMSKey)
			if shown := shownContext(as); shown != "" {
				element(b, sse.HeaderContext, shown)
			}
		case sse.ModeC:
			element(b, sse.HeaderCustomerAlgorithm, sse.MethodS3)
		}
	}
	b.WriteString("</UserMetadata>")
}
