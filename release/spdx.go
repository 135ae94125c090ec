package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"time"
)

// projectURL is where the project lives.
const projectURL = "https://github.com/bucketseal/bucketseal"

// spdxDocument is SPDX 2.3 in JSON (https://spdx.github.io/spdx-spec/v2.3/), as far as
// a program linked of modules needs it.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicence   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID        string         `json:"SPDXID"`
	Name      string         `json:"name"`
	Version   string         `json:"versionInfo"`
	Supplier  string         `json:"supplier"`
	Download  string         `json:"downloadLocation"`
	Analyzed  bool           `json:"filesAnalyzed"`
	Checksums []spdxChecksum `json:"checksums,omitempty"`
	Concluded string         `json:"licenseConcluded"`
	Declared  string         `json:"licenseDeclared"`
	Copyright string         `json:"copyrightText"`
	Comment   string         `json:"comment,omitempty"`
	Refs      []spdxRef      `json:"externalRefs,omitempty"`
	Purpose   string         `json:"primaryPackagePurpose"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const spdxNone = "NOASSERTION"

// writeSPDX writes the bill of materials of a binary: the modules that the toolchain
// noted in it, with their licences. Nothing in it depends on when it is written.
func writeSPDX(file string, b *binary, modules []*module) error {
	program := spdxPackage{
		ID: "SPDXRef-bucketseal", Name: "bucketseal", Version: b.version, Supplier: "Organization: bucketseal",
		Download: "git+" + projectURL + "@" + b.revision, Concluded: "Apache-2.0", Declared: "Apache-2.0", Copyright: "Copyright the bucketseal authors",
		Checksums: []spdxChecksum{{"SHA256", b.sha256}},
		Comment:   "The file " + b.program() + " for " + b.target.os + "/" + b.arch + ", built with " + b.info.GoVersion,
		Refs:      []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/github.com/bucketseal/bucketseal@" + b.version}}, Purpose: "APPLICATION",
	}
	d := spdxDocument{
		Version: "SPDX-2.3", DataLicence: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: b.name(), Namespace: projectURL + "/spdx/" + b.name() + "-" + b.sha256,
		Creation:      spdxCreation{b.time.UTC().Format(time.RFC3339), []string{"Organization: bucketseal", "Tool: bucketseal-release"}},
		Packages:      []spdxPackage{program},
		Relationships: []spdxRelationship{{"SPDXRef-DOCUMENT", "DESCRIBES", program.ID}},
	}
	for _, m := range modules {
		p := m.spdx()
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, spdxRelationship{program.ID, "STATIC_LINK", p.ID})
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// spdx is the module's entry.
func (m *module) spdx() spdxPackage {
	version := strings.TrimPrefix(m.version, "go")
	p := spdxPackage{
		ID: "SPDXRef-" + regexp.MustCompile(`[^A-Za-z0-9.-]`).ReplaceAllString(m.path+"-"+version, "-"), Name: m.path, Version: m.version,
		Supplier: spdxNone, Download: spdxNone,
		Concluded: m.licence, Declared: m.licence, Copyright: spdxNone, Purpose: "LIBRARY",
		Refs: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + strings.ToLower(m.path) + "@" + m.version}},
	}
	if m.sum != "" {
		p.Comment = "go.sum: " + m.sum
	}
	if m.path == standardLibrary {
		p.Name, p.Version, p.Download = "stdlib", version, "https://go.dev/dl/"+m.version+".src.tar.gz"
		p.Refs = []spdxRef{
			{"PACKAGE-MANAGER", "purl", "pkg:golang/stdlib@" + version},
			{"SECURITY", "cpe23Type", "cpe:2.3:a:golang:go:" + version + ":*:*:*:*:*:*:*"},
		}
	}
	return p
}
