module herald.dev/tools/cluster/cnpg

go 1.26.4

// For its types, config/crd/bases: it is fetched and never compiled.
require github.com/cloudnative-pg/cloudnative-pg v1.30.0
