package s3api

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

// listKind is which of S3's three listings is served.
type listKind int

const (
	listV1 listKind = iota
	listV2
	listVersions
)

// listing is one listing on its way.
type listing struct {
	server  *API
	request *intake.Request
	kind    listKind
	// encode says that the client wants names URL-encoded.
	encode bool
	// metadata says that the client asked for the objects' metadata.
	metadata bool
	owner    bool
	marker   string // of V1
}

// listObjectsV2 serves ListObjectsV2.
func (s *API) listObjectsV2(w http.ResponseWriter, r *intake.Request) error {
	l := &listing{server: s, request: r, kind: listV2, owner: r.Query.Get("fetch-owner") == "true"}
	return l.serve(w)
}

// listObjectsV1 serves ListObjects, through V2: only that tells metadata.
func (s *API) listObjectsV1(w http.ResponseWriter, r *intake.Request) error {
	l := &listing{server: s, request: r, kind: listV1, owner: true, marker: r.Query.Get("marker")}
	return l.serve(w)
}

// listObjectVersions serves ListObjectVersions.
func (s *API) listObjectVersions(w http.ResponseWriter, r *intake.Request) error {
	l := &listing{server: s, request: r, kind: listVersions, owner: true}
	return l.serve(w)
}

func (l *listing) serve(w http.ResponseWriter) error {
	r := l.request
	if v := r.Query.Get("encoding-type"); v != "" && !strings.EqualFold(v, "url") {
		return errEncodingType
	} else if v != "" {
		l.encode = true
	}
	l.metadata = r.Query.Get("metadata") == "true"
	page, err := l.server.vault.List(r.Context(), l.server.reader(r), &vault.List{
		Bucket: r.Bucket, Versions: l.kind == listVersions, Parameters: l.parameters(), Owner: l.owner, Metadata: l.metadata,
	})
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, l.render(page))
	return nil
}

// parameters are the client's, as the storage takes them.
func (l *listing) parameters() map[string]string {
	names := []string{"prefix", "delimiter", "max-keys"}
	switch l.kind {
	case listVersions:
		names = append(names, "key-marker", "version-id-marker")
	case listV2:
		names = append(names, "start-after", "continuation-token")
	}
	parameters := make(map[string]string, len(names)+1)
	for _, name := range names {
		if l.request.Query.Has(name) {
			parameters[name] = l.request.Query.Get(name)
		}
	}
	if l.kind == listV1 && l.marker != "" {
		parameters["start-after"] = l.marker
	}
	return parameters
}

// nextMarker is V1's marker for the next page: the key inside upstream's token.
func nextMarker(p *storage.Page) string {
	if token, err := base64.StdEncoding.DecodeString(p.NextToken); err == nil && len(token) > 0 {
		return string(token)
	}
	last := ""
	if n := len(p.Entries); n > 0 {
		last, _ = url.QueryUnescape(p.Entries[n-1].Key)
	}
	if n := len(p.Prefixes); n > 0 {
		if prefix, _ := url.QueryUnescape(p.Prefixes[n-1]); prefix > last {
			last = prefix
		}
	}
	return last
}

// encoded writes one of upstream's URL-encoded names in the client's encoding.
func (l *listing) encoded(name string) string {
	if l.encode {
		return name
	}
	raw, err := url.QueryUnescape(name)
	if err != nil {
		return name
	}
	return raw
}

// raw writes a name of the client's own request in the client's encoding.
func (l *listing) raw(name string) string {
	if l.encode {
		return listEncoded(name)
	}
	return name
}
